/** A row of train.parquet and validation.parquet, as convert and filter write it and trainer and eval read it. */
import { Field, List, Schema, Struct, Utf8 } from 'apache-arrow';

export interface Message {
  role: string;
  content: string;
}

export interface SplitRow {
  id: string;
  prompt: Message[];
  response: string;
  reference: string;
  source: string | null;
}

const message = new Struct([new Field('role', new Utf8()), new Field('content', new Utf8())]);

/** The list's child is named `element`, as Parquet's three-level lists name it; other readers insist on it. */
export const splitSchema = new Schema([
  new Field('id', new Utf8()),
  new Field('prompt', new List(new Field('element', message))),
  new Field('response', new Utf8()),
  new Field('reference', new Utf8()),
  new Field('source', new Utf8(), true),
]);
