/** node:os, node:v8, node:vm and node:url of a page: what nothing that it computes asks for. */
export const totalmem = (): number => Number.POSITIVE_INFINITY;
export const setFlagsFromString = (): void => {};
export const runInNewContext = (): (() => void) => () => {};

/** A page has one place for sources, whatever its own address. */
export const fileURLToPath = (): string => '/src/files.ts';
