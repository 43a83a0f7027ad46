/** The backends by name, in the order in which `auto` tries them: for the command line, which loads no engine to print its help. */
export const BACKEND_NAMES = ['wasm', 'scalar', 'reference'] as const;

export type BackendName = (typeof BACKEND_NAMES)[number];

export const ENGINE_CHOICES = ['auto', ...BACKEND_NAMES] as const;

export type EngineChoice = (typeof ENGINE_CHOICES)[number];

/** How finely an engine computes; `auto`: as its backend does by default for the design. */
export const PRECISION_CHOICES = ['auto', 'fast', 'exact'] as const;

export type PrecisionChoice = (typeof PRECISION_CHOICES)[number];
export type Precision = Exclude<PrecisionChoice, 'auto'>;
