/** The part of the WebAssembly JavaScript API that mapping and engine use; the project's `lib` has no DOM. */
declare namespace WebAssembly {
  class Module {
    constructor(bytes: Uint8Array);
    static imports(module: Module): { module: string; name: string; kind: string }[];
  }
  class Memory {
    constructor(descriptor: { initial: number; maximum: number; shared: true });
    readonly buffer: SharedArrayBuffer;
  }
  interface Instance {
    readonly exports: Record<string, (...operands: number[]) => number>;
  }
  function instantiate(module: Module, imports: Record<string, Record<string, Memory>>): Promise<Instance>;
}
