/**
 * What our workers use of `node:crypto`, which workerd has built in (the flag `nodejs_compat`, on by
 * default at our compatibility date). The types of Node would bring the rest of Node with them.
 */
declare module 'node:crypto' {
  export class X509Certificate {
    /** PEM or DER. Throws for anything else. */
    constructor(certificate: string | Uint8Array);
    readonly ca: boolean;
    readonly fingerprint256: string;
    readonly issuer: string;
    readonly publicKey: KeyObject;
    readonly serialNumber: string;
    readonly subject: string;
    readonly subjectAltName: string | undefined;
    /** `Nov 22 12:00:00 2027 GMT` */
    readonly validFrom: string;
    readonly validTo: string;
    checkIssued(issuer: X509Certificate): boolean;
    toLegacyObject(): { readonly subject?: Readonly<Record<string, unknown>> };
    verify(publicKey: KeyObject): boolean;
  }
  export interface KeyObject {
    readonly type: 'public' | 'private' | 'secret';
    readonly asymmetricKeyType?: string;
    readonly asymmetricKeyDetails?: {
      readonly modulusLength?: number;
      readonly namedCurve?: string;
    };
    export(options: { type: 'spki'; format: 'der' }): Uint8Array & {
      toString(encoding: 'base64' | 'hex'): string;
    };
  }
  interface Hash {
    update(data: string | Uint8Array): Hash;
    digest(encoding: 'hex'): string;
  }
  export function createHash(algorithm: 'sha256'): Hash;
  export function createPublicKey(key: string): KeyObject;
}
