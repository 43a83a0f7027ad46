/** The part of the WebAssembly JavaScript API that mapping, engine and simulator use; the project's `lib` has no DOM. */
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
  function compile(bytes: Uint8Array): Promise<Module>;
  function instantiate(module: Module, imports: Imports): Promise<Instance>;
  /** Replaced while the simulator starts, see src/spice/worker.ts. */
  let instantiateStreaming: (
    source: unknown,
    imports: Imports,
  ) => Promise<{ module: Module; instance: Instance }>;
  type Imports = Record<string, Record<string, Memory>>;
}
