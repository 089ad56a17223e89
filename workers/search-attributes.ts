/** The search attributes of a run in a namespace: which are missing, and how they come to be. */
import type { Connection } from '@temporalio/client';
import proto from '@temporalio/proto';
import { searchAttributes } from '../contracts/search-attributes.ts';

type Name = keyof typeof searchAttributes;
const types = proto.temporal.api.enums.v1.IndexedValueType;
const valueTypes = {
  Keyword: types.INDEXED_VALUE_TYPE_KEYWORD,
  Int: types.INDEXED_VALUE_TYPE_INT,
  Double: types.INDEXED_VALUE_TYPE_DOUBLE,
} as const;

/** Those that the namespace lacks, and those that it has under another type, which nobody can use. */
export async function missingSearchAttributes(
  connection: Pick<Connection, 'operatorService'>,
  namespace: string,
): Promise<{ missing: Name[]; mistyped: Name[] }> {
  const { customAttributes } = await connection.operatorService.listSearchAttributes({ namespace });
  const names = Object.keys(searchAttributes) as Name[];
  return {
    missing: names.filter((name) => customAttributes[name] === undefined),
    mistyped: names.filter((name) => {
      const found = customAttributes[name];
      return found !== undefined && found !== valueTypes[searchAttributes[name]];
    }),
  };
}

/** Must happen before a worker takes tasks: a workflow that upserts an unknown one fails its task over and over. */
export async function createSearchAttributes(
  connection: Pick<Connection, 'operatorService'>,
  namespace: string,
  names: readonly Name[],
): Promise<void> {
  await connection.operatorService.addSearchAttributes({
    namespace,
    searchAttributes: Object.fromEntries(names.map((name) => [name, valueTypes[searchAttributes[name]]])),
  });
}

/** The command that makes them, for people. */
export function createCommand(missing: readonly Name[], namespace: string): string {
  const flags = missing.map((name) => `--name ${name} --type ${searchAttributes[name]}`);
  return `temporal operator search-attribute create --namespace ${namespace} ${flags.join(' ')}`;
}
