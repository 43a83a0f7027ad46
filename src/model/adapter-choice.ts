/** LoRA adapters as they are asked for: apart from lora.ts, which reads them, so that the command line starts without. */

/** An adapter as it is asked for: a file and what its part is multiplied by. */
export interface AdapterChoice {
  readonly path: string;
  readonly scale: number;
}

/** `adapter.gguf` or `adapter.gguf:0.5`; a colon that no number follows is part of the name. */
export function parseAdapterChoice(text: string): AdapterChoice {
  const colon = text.lastIndexOf(':');
  const scale = colon > 0 && text.slice(colon + 1).trim() !== '' ? Number(text.slice(colon + 1)) : Number.NaN;
  return Number.isFinite(scale) ? { path: text.slice(0, colon), scale } : { path: text, scale: 1 };
}
