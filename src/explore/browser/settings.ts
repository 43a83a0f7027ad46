/** Before any module of the program: what a page lacks, and what it may not do. */
import { z } from 'zod';
import { Buffer } from './buffer.ts';

// A page may not make code from strings, and zod is not to try.
z.config({ jitless: true });

(globalThis as { Buffer?: unknown }).Buffer ??= Buffer;
