/** node:process of a page. */
export const cwd = (): string => '/';
export const env: Readonly<Record<string, string | undefined>> = {};
export const pid = 1;
export const kill = (): never => {
  throw new Error('a page has no processes');
};
export const constrainedMemory = (): number => 0;
export const memoryUsage = () => ({ arrayBuffers: 0 });
