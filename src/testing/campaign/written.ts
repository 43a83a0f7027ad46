/**
 * Files that onefet writes, changed by somebody who knows how: sealed again, so that only what they say can be refused. Each
 * is taken and used, or refused.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { readActivity, shapeOfActivity } from '../../experiment/activity-file.ts';
import { readResult } from '../../experiment/read-result.ts';
import { packageRoot } from '../../files.ts';
import { openImage } from '../../mapping/image.ts';
import { FILE_HEAD_BYTES, KIND, SECTION_HEAD_BYTES } from '../../mapping/image-format.ts';
import { renderReport } from '../../report/report.ts';
import { renderSweep } from '../../report/sweep/sweep.ts';
import { decodeResult, encodeResult } from '../../sources.ts';
import { readSweep, writeSweep } from '../../sweep/finish.ts';
import { fixtureResult } from '../results.ts';
import { accuracySweep, calibrationSweep } from '../sweeps.ts';
import { changeData, type Draw } from './change.ts';
import { writeDrawnImage } from './drawn-image.ts';
import type { Target } from './run.ts';

const plain = (value: unknown): unknown => JSON.parse(JSON.stringify(value));

/** A changed copy, sealed. */
const resealed = (data: unknown, draw: Draw): string => encodeResult(changeData(data, draw) as object, 'x');

function refuseScript(page: string): void {
  if (page.includes('<script>alert(1)')) throw new Error('a script in the report');
}

interface ImagePart {
  readonly kind: number;
  readonly json: unknown;
  readonly payload: Buffer;
}

function imageParts(image: Buffer): ImagePart[] {
  const parts: ImagePart[] = [];
  for (let at = FILE_HEAD_BYTES; at < image.length; ) {
    const payloadAt = at + SECTION_HEAD_BYTES + image.readUInt32LE(at + 8);
    const end = payloadAt + Number(image.readBigUInt64LE(at + 16));
    const json = JSON.parse(image.toString('utf8', at + SECTION_HEAD_BYTES, payloadAt));
    parts.push({ kind: image.readUInt32LE(at + 4), json, payload: image.subarray(payloadAt, end) });
    at = end;
  }
  return parts;
}

/** A section with a digest that fits, and the digest. */
function section({ kind, json, payload }: ImagePart): { bytes: Buffer; digest: string } {
  const text = Buffer.from(JSON.stringify(json) ?? 'null');
  const head = Buffer.alloc(24);
  head.write('SECT', 'latin1');
  head.writeUInt32LE(kind, 4);
  head.writeUInt32LE(text.length, 8);
  head.writeBigUInt64LE(BigInt(payload.length), 16);
  const digest = createHash('sha256').update(head).update(text).update(payload).digest();
  return { bytes: Buffer.concat([head, digest, text, payload]), digest: digest.toString('hex') };
}

export const WRITTEN_TARGETS: readonly Target[] = [
  {
    what: 'results, sealed again, and their reports',
    cost: 100,
    start(folder) {
      const data = plain(fixtureResult(2));
      return (draw) => {
        writeFileSync(join(folder, 'result.json'), resealed(data, draw));
        refuseScript(renderReport(readResult(folder), null));
      };
    },
  },
  {
    what: 'plans and points of sweeps, sealed again, and their reports',
    cost: 100,
    start(folder) {
      const sweeps = [accuracySweep(), calibrationSweep()].map(({ description, outcomes }) => {
        const own = mkdtempSync(join(folder, 'sweep-'));
        mkdirSync(join(own, 'outcomes'));
        const files = [
          ['plan.json', description] as const,
          ...outcomes.map((outcome, i) => [join('outcomes', `${i + 1}.json`), outcome] as const),
        ].map(([name, data]) => {
          const path = join(own, name);
          const text = encodeResult(data, 'x');
          writeFileSync(path, text);
          return { path, text, data: plain(data) };
        });
        return { own, files };
      });
      return (draw) => {
        const { own, files } = sweeps[draw(sweeps.length)];
        const { path, text, data } = files[draw(files.length)];
        writeFileSync(path, draw(9) === 0 ? text : resealed(data, draw));
        try {
          const sweep = readSweep(own);
          if (sweep === undefined) return false;
          writeSweep(sweep, { seconds: 1, command: [] });
          refuseScript(renderSweep(sweep));
          return true;
        } finally {
          writeFileSync(path, text);
        }
      };
    },
  },
  {
    what: 'activities, sealed again',
    cost: 10,
    start(folder) {
      const path = join(folder, 'activity.json');
      const data = decodeResult(
        readFileSync(join(packageRoot, 'experiments', 'activity', 'log-domain.json'), 'utf8'),
      );
      return (draw) => {
        writeFileSync(path, draw(9) === 0 ? encodeResult(data as object, 'x') : resealed(data, draw));
        shapeOfActivity(readActivity(path), path);
      };
    },
  },
  {
    what: 'chip images, sealed again',
    cost: 10,
    start(folder) {
      const path = join(mkdtempSync(join(folder, 'image-')), 'a.image');
      writeDrawnImage(path);
      const written = readFileSync(path);
      const parts = imageParts(written);
      return (draw) => {
        // One in four not at all.
        const changed = draw(parts.length + 1);
        const kinds = Object.values(KIND);
        const digests: string[] = [];
        const sections = parts.map((part, i) => {
          const other = { ...part, json: changeData(part.json, draw) };
          const kind = draw(20) === 0 ? kinds[draw(kinds.length)] : part.kind;
          const chain = createHash('sha256').update(digests.join('\n')).digest('hex');
          const end = { ...part, json: { sections: digests.length, sha256: chain } };
          const { bytes, digest } = section(
            i === changed ? { ...other, kind } : part.kind === KIND.end ? end : part,
          );
          digests.push(digest);
          return bytes;
        });
        writeFileSync(path, Buffer.concat([written.subarray(0, FILE_HEAD_BYTES), ...sections]));
        const image = openImage(path);
        try {
          for (const name of image.matrices.keys()) image.readMatrix(name);
          for (const name of image.vectors.keys()) image.readVector(name);
          image.readRanges();
        } finally {
          image.close();
        }
      };
    },
  },
];
