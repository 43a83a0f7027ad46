/** SHA-256 of node:crypto for a page. */
import { sha256 } from '@noble/hashes/sha2.js';
import { bytesToHex, utf8ToBytes } from '@noble/hashes/utils.js';

export function createHash() {
  const hash = sha256.create();
  return {
    update: (part: string | Uint8Array) => hash.update(typeof part === 'string' ? utf8ToBytes(part) : part),
    digest: () => bytesToHex(hash.digest()),
  };
}
