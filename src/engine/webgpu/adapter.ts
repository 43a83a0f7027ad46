/**
 * A GPU through WebGPU: Dawn, which the npm package `webgpu` brings. It is no dependency, for its 130 MB: `npm install --no-save webgpu@0.6` adds it.
 * Without it, or without a driver, `openGpu` says so; nothing else of onefet needs it.
 */
import { existsSync } from 'node:fs';
import { env } from 'node:process';
import { OnefetError } from '../../error.ts';

export interface Gpu {
  readonly device: GPUDevice;
  /** Vendor, architecture, and what the driver says of itself. */
  readonly name: string;
  /** The driver computes on the processor: fit for tests, not for timings. */
  readonly software: boolean;
  close(): void;
}

/** Debian's Chromium brings SwiftShader, a Vulkan driver that computes on the processor. */
const SOFTWARE_DRIVERS = ['/usr/lib/chromium/vk_swiftshader_icd.json'];

interface Dawn {
  create(options: string[]): GPU;
  readonly globals: Readonly<Record<string, unknown>>;
}

/**
 * Opens the first GPU; with `software`, a driver on the processor where there is no GPU.
 * Errors: GPU_ABSENT, with what is missing.
 */
export async function openGpu({ software = false } = {}): Promise<Gpu> {
  const dawn = await loadDawn();
  Object.assign(globalThis, dawn.globals);
  const adapter = (await adapterOf(dawn)) ?? (software ? await softwareAdapter(dawn) : null);
  if (!adapter) {
    throw absent(
      'no GPU has a driver that Dawn takes',
      'install a Vulkan driver (on macOS and Windows it is there)',
    );
  }
  const { maxBufferSize, maxStorageBufferBindingSize } = adapter.limits;
  // Some drivers lack `subgroups` and the like: the kernels ask for nothing beyond WebGPU's core.
  const device = await adapter.requestDevice({
    requiredLimits: { maxBufferSize, maxStorageBufferBindingSize },
  });
  const { description, vendor, architecture } = adapter.info;
  const kind = [vendor, architecture].filter(Boolean).join(' ');
  return {
    device,
    name: [kind || 'unnamed', description && `(${description})`].filter(Boolean).join(' '),
    software: /swiftshader|llvmpipe/i.test(`${description} ${architecture}`),
    close: () => device.destroy(),
  };
}

async function loadDawn(): Promise<Dawn> {
  try {
    return (await import('webgpu' as string)) as Dawn;
  } catch (cause) {
    throw absent('the package webgpu is not installed', 'npm install --no-save webgpu@0.6', cause);
  }
}

/**
 * Instances of Dawn, held for good: what hangs on one (devices, waiting results) does not keep it from being collected, and
 * its next event is then read from memory that was freed.
 */
const instances: GPU[] = [];

async function adapterOf(dawn: Dawn): Promise<GPUAdapter | null> {
  const gpu = dawn.create([]);
  instances.push(gpu);
  return gpu.requestAdapter({ powerPreference: 'high-performance' });
}

async function softwareAdapter(dawn: Dawn): Promise<GPUAdapter | null> {
  const driver = SOFTWARE_DRIVERS.find((path) => existsSync(path));
  if (!driver) return null;
  const before = env.VK_DRIVER_FILES;
  // The Vulkan loader reads it when an instance is made.
  env.VK_DRIVER_FILES = driver;
  try {
    return await adapterOf(dawn);
  } finally {
    if (before === undefined) delete env.VK_DRIVER_FILES;
    else env.VK_DRIVER_FILES = before;
  }
}

const absent = (what: string, hint: string, cause?: unknown): OnefetError =>
  new OnefetError('usage', 'GPU_ABSENT', `there is no WebGPU here: ${what}`, { hint, cause });
