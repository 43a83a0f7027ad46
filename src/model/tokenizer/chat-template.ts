/** The chat template of an instruct model: Jinja in `tokenizer.chat_template`, run by @huggingface/jinja. */
import { OnefetError } from '../../error.ts';
import { reasonOf } from '../../files.ts';
import type { GgufValue } from '../gguf-file.ts';
import type { Tokenizer } from './tokenizer.ts';

/**
 * Returns the prompt in which a user says `text` and the model's answer is to begin, to be encoded with parseSpecial.
 * Throws OnefetError('usage', 'CHAT_TEMPLATE_MISSING') for a model without a template, OnefetError('input',
 * 'CHAT_TEMPLATE') for a template that cannot be run.
 */
export async function chatPrompt(
  metadata: ReadonlyMap<string, GgufValue>,
  tokenizer: Tokenizer,
  text: string,
): Promise<string> {
  const source = metadata.get('tokenizer.chat_template');
  if (typeof source !== 'string' || source === '') {
    throw new OnefetError('usage', 'CHAT_TEMPLATE_MISSING', 'the model has no chat template', {
      hint: 'it continues text: leave --chat out; or use an instruct model with tokenizer.chat_template',
    });
  }
  const spelling = (id: number | undefined): string => (id === undefined ? '' : tokenizer.spelling(id));
  // Loaded when it is needed: no other command runs templates.
  const { Template } = await import('@huggingface/jinja');
  try {
    return new Template(source).render({
      messages: [{ role: 'user', content: text }],
      add_generation_prompt: true,
      bos_token: spelling(tokenizer.bosId),
      eos_token: spelling(tokenizer.eosId),
    });
  } catch (cause) {
    throw new OnefetError('input', 'CHAT_TEMPLATE', `the model's chat template fails: ${reasonOf(cause)}`, {
      hint: "write the prompt in the model's format yourself: special tokens in --prompt are read as such",
      cause,
    });
  }
}
