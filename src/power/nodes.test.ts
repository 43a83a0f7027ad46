/** Designs at a node: every one of the shipped file loads, has counts, and is priced with constants of that node alone. */
import { expect, test } from 'vitest';
import { LLAMA_3_1_8B } from '../model/shapes.ts';
import { designAtNode, loadNode } from './nodes.ts';
import { costAt, subjectOf } from './power.ts';

test.each([
  ['28', 28],
  ['7', 7],
])('at node %s every constant is of that node', (name, nm) => {
  const node = loadNode(name);
  expect(node.designs.size).toBeGreaterThan(4);
  for (const asked of node.designs.keys()) {
    const { design, settings } = designAtNode(node, asked);
    const { constants, fabric } = subjectOf(design, settings, 'no-such-folder');
    const { cell, converters, digital } = constants.nodesNm;
    // planar32lp is the cell of the 28 nm class; a fabric without cells or converters prices none.
    if (fabric.kind === 'log-domain' || fabric.kind === 'mask-rom')
      expect(cell, asked).toBe(nm === 28 ? 32 : nm);
    if (fabric.kind === 'log-domain') expect(converters, asked).toBe(nm);
    expect(digital, asked).toBe(nm);
  }
});

test('a smaller node takes less area for the same products', () => {
  const areaMm2 = (name: string) => {
    const { design, settings } = designAtNode(loadNode(name), 'mask-rom');
    return costAt(subjectOf(design, settings, 'no-such-folder'), LLAMA_3_1_8B, 1024).areaMm2;
  };
  expect(areaMm2('7')).toBeLessThan(0.5 * areaMm2('28'));
});

test('nodes and designs that there are none of are named', () => {
  expect(() => loadNode('5')).toThrowError(expect.objectContaining({ code: 'NODE_UNKNOWN', kind: 'usage' }));
  expect(() => loadNode('__proto__')).toThrowError(expect.objectContaining({ code: 'NODE_UNKNOWN' }));
  expect(() => designAtNode(loadNode('7'), 'gpu')).toThrowError(/gpu has no form at node 7/);
});
