/** Connections to Temporal as its own tools configure them: TEMPORAL_* variables, profiles, TLS, API keys. */
import { Client, Connection } from '@temporalio/client';
import { loadClientConnectConfig } from '@temporalio/envconfig';
import { NativeConnection } from '@temporalio/worker';

export interface Connected<C> {
  connection: C;
  namespace: string;
  address: string;
}

/** Thrown with four parts where nothing answers within some seconds. */
export class NotReachable extends Error {}

const CONNECT_MS = 3000;
/** gRPC's status. */
const NOT_FOUND = 5;

/** For clients and workers alike. */
export function connectionConfig() {
  const { connectionOptions, namespace } = loadClientConnectConfig();
  return {
    options: connectionOptions,
    namespace: namespace ?? 'default',
    address: connectionOptions.address ?? 'localhost:7233',
  };
}

export async function connectClient(): Promise<Connected<Connection> & { client: Client }> {
  const { options, namespace, address } = connectionConfig();
  const connection = await explain(address, Connection.connect({ ...options, connectTimeout: CONNECT_MS }));
  await expectNamespace({ connection, namespace, address });
  return { connection, namespace, address, client: new Client({ connection, namespace }) };
}

export async function connectWorker(): Promise<Connected<NativeConnection>> {
  const { options, namespace, address } = connectionConfig();
  const connected = { connection: await explain(address, NativeConnection.connect(options)), namespace, address };
  await expectNamespace(connected);
  return connected;
}

type Described = Connected<Pick<Connection, 'workflowService' | 'close'>>;

/** A wrong name would otherwise show as whatever is asked first, or as a worker that never gets a task. */
async function expectNamespace({ connection, namespace, address }: Described): Promise<void> {
  try {
    await connection.workflowService.describeNamespace({ namespace });
  } catch (error) {
    // Not allowed to ask: the name may be right.
    if ((error as { code?: unknown }).code !== NOT_FOUND) return;
    await connection.close();
    throw new NotReachable(
      `Temporal at ${address} has no namespace ${namespace}; expected one that is there; create it with \`temporal operator namespace create -n ${namespace}\`, or correct TEMPORAL_NAMESPACE or the profile.`,
      { cause: error },
    );
  }
}

async function explain<T>(address: string, connecting: Promise<T>): Promise<T> {
  try {
    return await connecting;
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new NotReachable(
      `Temporal at ${address} does not answer (${reason.split('\n')[0]}); expected a server there; start one with \`reverie up\`, or set TEMPORAL_ADDRESS or TEMPORAL_PROFILE.`,
      { cause: error },
    );
  }
}
