/** What S3 and the SDK's transport say when they fail, in words that tell a person what to do. */
import { ReverieFailure } from '../../contracts/failures.ts';
import { asDiskFull } from './disk-full.ts';

interface SdkError {
  name: string;
  message: string;
  code?: string;
  Code?: string;
  $metadata?: { httpStatusCode?: number; attempts?: number };
}

export function statusOf(error: unknown): number | undefined {
  return (error as SdkError).$metadata?.httpStatusCode;
}

export function attemptsOf(error: unknown): number {
  return (error as SdkError).$metadata?.attempts ?? 1;
}

/** An object that is not there; a bucket that is not there is a failure, and HEAD cannot tell the two apart. */
export function isNoSuchKey(error: unknown): boolean {
  return (error as SdkError).name === 'NoSuchKey';
}

/** What may be gone with the next try: no answer, or one that blames the store. A store that is full, or cannot do a thing, does not pass. */
export function isPassing(error: unknown): boolean {
  const status = statusOf(error);
  return (
    (error as SdkError).name !== 'AbortError' &&
    (status === undefined || status === 429 || (status >= 500 && status !== 501 && status !== 507))
  );
}

/** Credentials that were good once. An answer to HEAD has no body that could say so. */
export function isExpired(error: unknown): boolean {
  const { name } = error as SdkError;
  return (
    ['ExpiredToken', 'ExpiredTokenException', 'InvalidToken', 'InvalidAccessKeyId'].includes(name) ||
    (isBodiless(name) && [400, 401, 403].includes(statusOf(error) ?? 0))
  );
}

const isBodiless = (name: string): boolean =>
  ['UnknownError', 'Unknown', 'BadRequest', 'Forbidden', '400', '403'].includes(name);

/** Returns what is to be thrown: faults of the caller's and failures that are named already are left as they are. */
export function asStoreFailure(error: unknown, operation: string, where: { url: string; bucket: string; key: string }) {
  if (error instanceof ReverieFailure || error instanceof TypeError) return error;
  const { name, code, message } = error as SdkError;
  // A local file that is missing says nothing about the store.
  if (code === 'ENOENT' || name === 'ConditionalWritesUnsupported') return error;
  const full = ['EntityTooLarge', 'QuotaExceeded', 'XMinioStorageFull', 'InsufficientStorage'].includes(name);
  const diskFull = full || statusOf(error) === 507 ? asDiskFull({ code: 'ENOSPC' }, `${where.url}/${where.key}`) : null;
  if (diskFull) return diskFull;
  const came =
    message && message !== 'UnknownError' ? `${name}: ${message}` : `${name} ${statusOf(error) ?? ''}`.trim();
  const object = where.key === '' ? 'its objects' : where.key;
  return new ReverieFailure(
    'StoreUnavailable',
    `Store ${where.url} failed to ${operation} ${object} (${came}); ${remedy(error as SdkError, where.bucket)}.`,
    { operation },
    { cause: error },
  );
}

function remedy(error: SdkError, bucket: string): string {
  switch (error.name) {
    case 'NoSuchBucket':
      return `expected a bucket named ${bucket} at this endpoint; create it, or correct REVERIE_STORE and AWS_ENDPOINT_URL_S3`;
    case 'InvalidAccessKeyId':
      return 'expected an access key that this endpoint knows; correct AWS_ACCESS_KEY_ID or AWS_PROFILE, and check that AWS_ENDPOINT_URL_S3 is the service that issued the key';
    case 'SignatureDoesNotMatch':
      return 'expected the secret that belongs to the access key; correct AWS_SECRET_ACCESS_KEY';
    case 'CredentialsProviderError':
      return "expected credentials from the AWS SDK's chain; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or give the host a role";
    case 'ExpiredToken':
    case 'ExpiredTokenException':
      return 'expected a token that is still valid; sign in again or let the host refresh its role';
    case 'RequestTimeTooSkewed':
      return "expected a clock within 15 minutes of the store's; set this host's clock";
    case 'PermanentRedirect':
    case 'AuthorizationHeaderMalformed':
      return `expected the region of bucket ${bucket}; set AWS_REGION to it`;
    case 'NotFound':
      return `expected a bucket named ${bucket}; create it or correct REVERIE_STORE`;
  }
  const status = statusOf(error);
  if (status === 403 || status === 401 || error.name === 'AccessDenied') {
    return `expected the rights s3:GetObject, PutObject, DeleteObject, AbortMultipartUpload, ListMultipartUploadParts, ListBucket and ListBucketMultipartUploads on ${bucket}; grant them, or correct the credentials`;
  }
  if (status !== undefined && status >= 500)
    return "expected an answer; look at the store's own log, then start the run again";
  return 'expected an answer; check that the endpoint (AWS_ENDPOINT_URL_S3) is right, up and reachable from this host';
}
