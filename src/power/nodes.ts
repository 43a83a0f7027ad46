/**
 * Designs with everything of one node: experiments/nodes.yaml, the working folder before the package.
 */
import { z } from 'zod';
import { parseDataFile } from '../cost/constants.ts';
import { OnefetError } from '../error.ts';
import { readTextFile, requireDataFile } from '../files.ts';

const nodesSchema = z.strictObject({
  schema: z.literal('onefet.nodes/1'),
  nodes: z.record(
    z.string(),
    z.strictObject({
      description: z.string(),
      designs: z.record(
        z.string(),
        z.strictObject({ design: z.string().optional(), set: z.array(z.string()).optional() }),
      ),
    }),
  ),
});

export interface NodeDesigns {
  readonly name: string;
  readonly description: string;
  /** By name of the design that is asked for: the design to load, and what to override in it. */
  readonly designs: ReadonlyMap<string, { readonly design: string; readonly settings: readonly string[] }>;
}

const readNodes = () => {
  const file = requireDataFile('experiments/nodes.yaml', 'nodes');
  return parseDataFile(readTextFile(file, 'nodes'), file, nodesSchema, 'NODES').nodes;
};

/** Names of the nodes, in the order of the file. */
export const nodeNames = (): string[] => Object.keys(readNodes());

/** Loads what designs become at a node. Errors: NODE_UNKNOWN (usage), with the names there are; NODES_INVALID. */
export function loadNode(name: string): NodeDesigns {
  const nodes = readNodes();
  if (!Object.hasOwn(nodes, name)) {
    throw new OnefetError('usage', 'NODE_UNKNOWN', `no node "${name}"`, {
      hint: `nodes are ${Object.keys(nodes).join(', ')}; more can be written in experiments/nodes.yaml`,
    });
  }
  const { description, designs } = nodes[name];
  return {
    ...{ name, description },
    designs: new Map(
      Object.entries(designs).map(([asked, { design = asked, set = [] }]) => [
        asked,
        { design, settings: set },
      ]),
    ),
  };
}

/** What a design becomes at the node. Errors: NODE_DESIGN (usage) for one that has no form there. */
export function designAtNode(
  node: NodeDesigns,
  design: string,
): { design: string; settings: readonly string[] } {
  const found = node.designs.get(design);
  if (found) return found;
  throw new OnefetError('usage', 'NODE_DESIGN', `design ${design} has no form at node ${node.name}`, {
    hint: `those that have: ${[...node.designs.keys()].join(', ')}; add it to experiments/nodes.yaml`,
  });
}
