/**
 * Makes the search attributes that the namespace lacks, before any worker starts there, as containers need it:
 *
 *     node --import tsx workers/prepare.ts
 */
import { connectClient } from './connect.ts';
import { exitCodeOf } from './exit-code.ts';
import { createSearchAttributes, missingSearchAttributes } from './search-attributes.ts';

try {
  const { connection, namespace } = await connectClient();
  const { missing } = await missingSearchAttributes(connection, namespace);
  if (missing.length > 0) await createSearchAttributes(connection, namespace, missing);
  console.log(
    `Namespace ${namespace}: ${missing.length === 0 ? 'all search attributes are there' : `made ${missing.join(', ')}`}.`,
  );
  await connection.close();
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(exitCodeOf(error));
}
