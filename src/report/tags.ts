/** Look of provenance tags: one colour each, in figures and in text. */
import { TAG_WORDS, TAGS, type Tag } from '../provenance.ts';
import { COLOURS } from './figure.ts';
import { escapeHtml } from './html.ts';

/** Bar of a figure with the colour's name, and the ink and ground of a badge (contrast above 4.5). */
const LOOKS: Readonly<Record<Tag, { bar: string; name: string; ink: string; ground: string }>> = {
  chosen: { bar: COLOURS.grey, name: 'grey', ink: '#374151', ground: '#f3f4f6' },
  measured: { bar: COLOURS.green, name: 'green', ink: '#045d46', ground: '#e7f6f0' },
  simulated: { bar: COLOURS.sky, name: 'light blue', ink: '#0b5563', ground: '#e6f6f9' },
  fitted: { bar: COLOURS.blue, name: 'blue', ink: '#004f7c', ground: '#e8f3fa' },
  cited: { bar: COLOURS.purple, name: 'purple', ink: '#5b3a8a', ground: '#f3eefa' },
  assumed: { bar: COLOURS.amber, name: 'amber', ink: '#8a4b00', ground: '#fff3e0' },
};

export function tagColour(tag: Tag): string {
  return LOOKS[tag].bar;
}

/** "green measured, amber assumed": the colours of the tags that are shown, best known first. */
export function tagLegend(shown: readonly Tag[]): string {
  return TAGS.filter((tag) => shown.includes(tag))
    .map((tag) => `${LOOKS[tag].name} ${tag}`)
    .join(', ');
}

export function tagBadge(tag: Tag): { html: string } {
  return { html: `<span class="tag ${tag}" title="${escapeHtml(TAG_WORDS[tag])}">${escapeHtml(tag)}</span>` };
}

export const TAG_STYLE = TAGS.map(
  (tag) => `.tag.${tag} { color: ${LOOKS[tag].ink}; background: ${LOOKS[tag].ground}; }`,
).join('\n');
