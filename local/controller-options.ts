import { type Command, InvalidArgumentError, Option } from 'commander';
import { type CompileOptions, DEFAULTS, parseServiceRef } from '../syncer/compile/options.ts';

/** The controller's options as flags, the same for `dev`, `check` and `explain`. */
export interface ControllerFlags {
  readonly controllerName: string;
  readonly ingressClass: string;
  readonly watchIngressWithoutClass: boolean;
  readonly defaultBackendService?: CompileOptions['defaultBackendService'];
  readonly disableCatchAll?: boolean;
  readonly disableExternalName?: boolean;
  readonly hostOwnership: CompileOptions['hostOwnership'];
  readonly nodeAddressTypes: readonly string[];
  readonly dialer: CompileOptions['dialer'];
  readonly productionRules?: boolean;
}

export function addControllerFlags(command: Command): Command {
  return command
    .option(
      '--controller-name <name>',
      'spec.controller of our IngressClasses',
      DEFAULTS.controllerName,
    )
    .option(
      '--ingress-class <name>',
      'class that is ours without an IngressClass object',
      DEFAULTS.ingressClass,
    )
    .option('--no-watch-ingress-without-class', 'leave Ingresses without a class alone')
    .option(
      '--default-backend-service <ns/name[:port]>',
      'serves what nothing else matches',
      serviceRef,
    )
    .option('--disable-catch-all', 'refuse Ingresses of a default backend only')
    .option('--disable-external-name', 'refuse Services of type ExternalName')
    .addOption(
      new Option('--host-ownership <mode>', 'whether other namespaces may add paths to a host')
        .choices(['shared', 'strict'])
        .default(DEFAULTS.hostOwnership),
    )
    .option(
      '--node-address-types <types>',
      'which address of a node to dial, first found',
      list,
      DEFAULTS.nodeAddressTypes,
    )
    .addOption(
      new Option('--dialer <name>', 'how the edge reaches endpoints')
        .choices(['socket', 'vpc'])
        .default(DEFAULTS.dialer),
    )
    .option('--production-rules', "refuse what Cloudflare's network would refuse");
}

export function compileOptions(flags: ControllerFlags): CompileOptions {
  return {
    controllerName: flags.controllerName,
    ingressClass: flags.ingressClass,
    watchIngressWithoutClass: flags.watchIngressWithoutClass,
    defaultBackendService: flags.defaultBackendService ?? null,
    disableCatchAll: flags.disableCatchAll ?? false,
    disableExternalName: flags.disableExternalName ?? false,
    hostOwnership: flags.hostOwnership,
    nodeAddressTypes: flags.nodeAddressTypes,
    dialer: flags.dialer,
    addressPolicy: flags.productionRules ? 'production' : 'local',
  };
}

function serviceRef(text: string): CompileOptions['defaultBackendService'] {
  try {
    return parseServiceRef(text);
  } catch (error) {
    throw new InvalidArgumentError(error instanceof Error ? error.message : String(error));
  }
}

function list(text: string): readonly string[] {
  const values = text
    .split(',')
    .map((it) => it.trim())
    .filter((it) => it !== '');
  if (values.length === 0) throw new InvalidArgumentError('names no address type');
  return values;
}
