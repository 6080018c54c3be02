import { type Gateway, startGateway } from '../../local/gateway.ts';
import { DEFAULTS } from '../../syncer/compile/options.ts';
import { FileSource } from '../../syncer/files/file-source.ts';
import { SILENT_LOGGER } from '../../syncer/log.ts';

/** The gateway as `causeway dev` starts it on files, in this process, once it serves what they say. */
export async function startFilesGateway(
  path: string,
  { echo = false }: { readonly echo?: boolean } = {},
): Promise<Gateway> {
  const served = Promise.withResolvers<void>();
  const gateway = await startGateway({
    source: new FileSource({ paths: [path], nodeAddress: '127.0.0.1' }),
    compile: { ...DEFAULTS, watchIngressWithoutClass: true, addressPolicy: 'local' },
    listen: { host: '127.0.0.1', httpPort: 0, httpsPort: 0 },
    persist: null,
    keys: null,
    productionRules: false,
    adminToken: null,
    echo,
    log: SILENT_LOGGER,
    onWorkerLog: () => {},
    onServed: () => served.resolve(),
  });
  await served.promise;
  return gateway;
}
