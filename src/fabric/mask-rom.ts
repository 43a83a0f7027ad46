/**
 * A multibit mask ROM beside multiply-accumulate units. Cells share gate and drain; what the masks choose is
 *
 *   current     on which of several rails a transistor's source lands: a sense circuit tells the rail by the current.
 *               Mismatch of the threshold moves some cells past their margins (src/tile/code-reads.ts): every chip has
 *               misread weights of its own
 *   connection  to which of several lines the transistor is connected: read without error, one line per value
 *
 * What is read is multiplied exactly.
 */
import { z } from 'zod';
import { OnefetError } from '../error.ts';
import type { MacActivity } from './activity.ts';
import { bindCircuit } from './circuit.ts';
import { closingShape, mappingShape, nameShape, processShape, weightsShape } from './common-design.ts';
import { MAC_COUNTERS, macCounts, macShape } from './digital.ts';
import type { FabricModule } from './fabric.ts';
import { type IntegerKind, integerFabric, integerShape } from './integer.ts';

export const maskRomDesign = z.strictObject({
  ...nameShape,
  fabric: z.literal('mask-rom').describe('What a linear layer is made of.'),
  ...processShape,
  ...integerShape,
  ...weightsShape,
  ...mappingShape,
  rom: z
    .strictObject({
      levels: z
        .enum(['current', 'connection'])
        .default('current')
        .describe(
          'How the levels of a cell are told apart: by its current, or by the line it is connected to.',
        ),
      cellArea: z
        .number()
        .min(0.25)
        .max(1024)
        .default(16)
        .describe(
          'Gate area of a cell told by its current, over that of the simulated one: sigma(Vt) goes with its root.',
        ),
      sigmaScale: z
        .number()
        .min(0)
        .max(4)
        .default(1)
        .describe('Factor on the sigma of the thresholds: 0 reads without errors.'),
    })
    .prefault({}),
  ...macShape,
  ...closingShape,
});

export type MaskRomDesign = z.infer<typeof maskRomDesign>;

/** The cell of SPICE: margins of its levels, sigma(Vt), time and energy of a read. */
export const ROM_CELL = 'mask-rom';

/** TT, 27 C: the condition that sense levels are set for. */
const READ_TEMP_K = 300.15;

export const maskRomFabric: FabricModule<MaskRomDesign> = {
  schema: maskRomDesign,
  load(design) {
    const circuit = design.rom.levels === 'current' ? bindCircuit(design.process, ROM_CELL) : undefined;
    return integerFabric(design, ({ rom }): IntegerKind<MaskRomDesign> => {
      const reads = circuit && readsOf(rom, circuit.calibration);
      return {
        wording: reads
          ? {
              loss: 'misreading and the coding of the inputs',
              remark:
                'What is read is multiplied exactly, but each chip misreads weights of its own: how many follows from the margins of the simulated cell and the mismatch of its gate area.',
            }
          : {
              loss: 'the coding of the inputs',
              remark:
                'A cell that is told by its connection is read without errors: every chip computes the same, and what it costs is that of multiply-accumulate units beside a dense ROM.',
            },
        circuit: circuit?.provenance,
        ...(reads ? { misreads: { source: MISREADS, how: reads } } : {}),
        withoutMisreads: (of) => ({ ...of, rom: { ...of.rom, sigmaScale: 0 } }),
        counters: MAC_COUNTERS satisfies readonly (keyof MacActivity)[],
        countsCodes: false,
        activity: macCounts,
      };
    });
  },
};

const MISREADS = {
  name: 'misreads',
  description: 'cells whose threshold is past the margin of their level, everything else exact',
  sameOnEveryChip: false,
} as const;

/** undefined: read without errors. Throws OnefetError('input', 'CIRCUIT_INVALID') for a cell of other than whole bits. */
function readsOf(
  { cellArea, sigmaScale }: MaskRomDesign['rom'],
  { process, rom }: ReturnType<typeof bindCircuit>['calibration'],
) {
  const typical = rom?.conditions.find(({ corner, tempK }) => corner === 'TT' && tempK === READ_TEMP_K);
  if (!rom || !typical || !Number.isInteger(Math.log2(rom.levels))) {
    throw new OnefetError(
      'input',
      'CIRCUIT_INVALID',
      `circuit ${process}/${ROM_CELL}: a mask ROM needs levels of whole bits, measured at TT and 27 C`,
    );
  }
  if (sigmaScale === 0) return undefined;
  const { marginDownV, marginUpV } = typical;
  const sigmaVtV = (sigmaScale * rom.cellSigmaVtV) / Math.sqrt(cellArea);
  return { levels: rom.levels, sigmaVtV, marginDownV, marginUpV };
}
