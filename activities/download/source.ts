/** Reads `source` and `revision` of a run spec: a repository of the Hugging Face Hub, or a path on this worker. */
import { isAbsolute, normalize } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

export type SourceKind = 'dataset' | 'model';

export type Source =
  | { type: 'hub'; name: string; revision: string; uri: string }
  | { type: 'local'; path: string; uri: string };

export type SourceResult = { ok: true; source: Source } | { ok: false; problem: string };

const repositoryName = /^[A-Za-z0-9][\w.-]*\/[A-Za-z0-9][\w.-]*$/;
/** The schema's default: a revision in the source then wins, as nobody wrote the other one. */
const DEFAULT_REVISION = 'main';

/** `hf://owner/name`, `hf://owner/name@revision`, `file:///path` or an absolute path. */
export function parseSource(kind: SourceKind, text: string, revision: string): SourceResult {
  if (text.startsWith('hf://')) return parseHub(kind, text, revision);
  if (text.startsWith('file:')) {
    try {
      return local(fileURLToPath(text));
    } catch {
      return bad(
        kind,
        text,
        'not a file URL of this host',
        'file:///absolute/path',
        'write three slashes and the path',
      );
    }
  }
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(text)) {
    return bad(
      kind,
      text,
      `of the kind ${text.slice(0, text.indexOf('://') + 3)}, which is not read`,
      'hf://owner/name, file:///path or an absolute path',
      'download it to a folder and name that',
    );
  }
  if (isAbsolute(text)) return local(text);
  return bad(
    kind,
    text,
    'a relative path, and a worker may run in any folder',
    'hf://owner/name, file:///path or an absolute path',
    `write the whole path${repositoryName.test(text) ? `, or hf://${text} if you mean the Hub` : ''}`,
  );
}

function parseHub(kind: SourceKind, text: string, revision: string): SourceResult {
  const rest = text.slice('hf://'.length);
  const at = rest.indexOf('@');
  const name = at < 0 ? rest : rest.slice(0, at);
  const own = at < 0 ? null : rest.slice(at + 1);
  if (!repositoryName.test(name)) {
    return bad(kind, text, 'not the name of a repository', 'hf://owner/name or hf://owner/name@revision', 'correct it');
  }
  if (own === '')
    return bad(kind, text, 'without a revision after @', 'hf://owner/name@revision', 'name one, or drop the @');
  if (own !== null && revision !== DEFAULT_REVISION && own !== revision) {
    return bad(
      kind,
      text,
      `at odds with ${kind}.revision ${JSON.stringify(revision)}`,
      'one revision',
      'keep it in one of the two places',
    );
  }
  return { ok: true, source: { type: 'hub', name, revision: own ?? revision, uri: `hf://${name}` } };
}

function local(path: string): SourceResult {
  const clean = normalize(path).replace(/(?<=.)\/+$/, '');
  return { ok: true, source: { type: 'local', path: clean, uri: pathToFileURL(clean).href } };
}

function bad(kind: SourceKind, text: string, came: string, expected: string, remedy: string): SourceResult {
  return { ok: false, problem: `${kind}.source ${JSON.stringify(text)} is ${came}; expected ${expected}; ${remedy}.` };
}
