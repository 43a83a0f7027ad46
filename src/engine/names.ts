/** The backends by name, in the order in which `auto` tries them: for the command line, which loads no engine to print its help. */
export const BACKEND_NAMES = ['wasm', 'scalar', 'reference'] as const;

export type BackendName = (typeof BACKEND_NAMES)[number];

export const ENGINE_CHOICES = ['auto', ...BACKEND_NAMES] as const;

export type EngineChoice = (typeof ENGINE_CHOICES)[number];
