import { type Command, InvalidArgumentError, Option } from 'commander';
import { OPTION_TABLE, type OptionRow } from '../syncer/compile/option-table.ts';
import { type CompileOptions, DEFAULTS } from '../syncer/compile/options.ts';

/** Where `dev`, `check` and `explain` differ from the syncer in a cluster. */
export const LOCAL_DEFAULTS: CompileOptions = {
  ...DEFAULTS,
  watchIngressWithoutClass: true,
  addressPolicy: 'local',
};

/**
 * The controller's options as flags, the same for `dev`, `check` and `explain`: by the name that
 * commander makes of a row's, what the row's parser made of the text, or whether a switch is on.
 */
export interface ControllerFlags {
  readonly productionRules?: boolean;
  readonly [flag: string]: unknown;
}

export function addControllerFlags(command: Command): Command {
  for (const row of OPTION_TABLE) for (const option of optionsOf(row)) command.addOption(option);
  return command.option('--production-rules', "refuse what Cloudflare's network would refuse");
}

export function compileOptions(flags: ControllerFlags): CompileOptions {
  const chosen = OPTION_TABLE.map((row) => {
    const value = flags[new Option(`--${row.name}`).attributeName()];
    if (row.value === null && typeof value === 'boolean') return row.parse(String(value));
    return (value ?? {}) as Partial<CompileOptions>;
  });
  const policy = flags.productionRules ? 'production' : LOCAL_DEFAULTS.addressPolicy;
  return Object.assign({}, LOCAL_DEFAULTS, ...chosen, { addressPolicy: policy });
}

function optionsOf(row: OptionRow): readonly Option[] {
  const meaning = row.meaning.replaceAll('`', '');
  if (row.value === null) {
    // What is on already can only be switched off.
    if (row.format(LOCAL_DEFAULTS) === 'true')
      return [new Option(`--no-${row.name}`, `do not ${meaning}`)];
    return [new Option(`--${row.name}`, meaning)];
  }
  const texts = [
    row.choices?.join(' or '),
    row.repeatable && 'may be repeated',
    row.format(LOCAL_DEFAULTS) && `default ${row.format(LOCAL_DEFAULTS)}`,
  ];
  const notes = texts.filter((it) => typeof it === 'string' && it !== '').join(', ');
  const option = new Option(
    `--${row.name} ${row.value}`,
    notes ? `${meaning} (${notes})` : meaning,
  );
  return [
    option.argParser((text: string, before: Partial<CompileOptions> | undefined) =>
      parsed(row, text, before),
    ),
  ];
}

function parsed(row: OptionRow, text: string, before: Partial<CompileOptions> | undefined) {
  try {
    return row.parse(text, before);
  } catch (error) {
    throw new InvalidArgumentError(error instanceof Error ? error.message : String(error));
  }
}
