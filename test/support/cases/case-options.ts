import { type CompileOptions, DEFAULTS, parseServiceRef } from '../../../syncer/compile/options.ts';

/** What a case's `config` means to the compiler; null for options that nothing implements yet. */
export function compileOptionsOf(config: Readonly<Record<string, unknown>>): CompileOptions | null {
  // The backends listen on this machine.
  let options: CompileOptions = { ...DEFAULTS, addressPolicy: 'local' };
  for (const [name, value] of Object.entries(config)) {
    const change = CHANGES[name];
    if (!change) return null;
    options = { ...options, ...change(value) };
  }
  return options;
}

const CHANGES: Readonly<Record<string, (value: unknown) => Partial<CompileOptions>>> = {
  defaultBackendService: (value) => ({ defaultBackendService: parseServiceRef(String(value)) }),
  disableCatchAll: (value) => ({ disableCatchAll: value === true }),
  disableExternalName: (value) => ({ disableExternalName: value === true }),
  watchIngressWithoutClass: (value) => ({ watchIngressWithoutClass: value === true }),
  // In ingress-nginx HSTS is on.
  hstsMaxAge: (value) => ({ hsts: true, hstsMaxAge: Number(value) }),
  hstsIncludeSubdomains: (value) => ({ hstsIncludeSubdomains: value === true }),
  hstsPreload: (value) => ({ hstsPreload: value === true }),
  ingressClass: (value) => ({ ingressClass: String(value) }),
};
