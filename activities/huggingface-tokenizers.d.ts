/** What is used of @huggingface/tokenizers, whose own types name files without extension and so do not resolve. */
declare module '@huggingface/tokenizers' {
  export class Tokenizer {
    /** Contents of tokenizer.json and tokenizer_config.json. */
    constructor(tokenizer: object, settings: object);
    encode(text: string, options?: { add_special_tokens?: boolean }): { ids: number[] };
    decode(ids: number[], options?: { skip_special_tokens?: boolean }): string;
    id_to_token(id: number): string | undefined;
    token_to_id(token: string): number | undefined;
    get_added_tokens_decoder(): Map<number, { id: number; content: string; special: boolean }>;
  }
}
