/** Where in the text a product is formed: the key of everything that is drawn per token. */
export interface TokenPosition {
  /** Index of the scored window, document or generation. */
  readonly window: number;
  /** Position of the token in its window. */
  readonly position: number;
}
