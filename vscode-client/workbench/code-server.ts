/** A code-server with one extension over one project. Everything it keeps is in one temporary folder. */

import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { freePort, listening, needed, PATIENCE, processesFrom, python, running, until } from './system.ts';

const VSIX = path.resolve(import.meta.dirname, '..', 'dist', 'starling.vsix');

export interface Options {
  readonly settings?: Readonly<Record<string, unknown>>;
  readonly isTrusted?: boolean;
  readonly folder?: boolean;
  readonly extension?: string; // another .vsix
  readonly keepHome?: boolean; // its servers see the user's own home, where the model is
}

export class CodeServer {
  private readonly home = mkdtempSync(path.join(tmpdir(), 'starling-vscode-'));
  private readonly options: Options;
  private process: ChildProcess | undefined;

  constructor(options: Options) {
    this.options = options;
  }

  /** Start it over a project of these files (path to text). Its address. */
  async start(files: Readonly<Record<string, string>>): Promise<string> {
    for (const [name, text] of Object.entries(files)) {
      mkdirSync(path.dirname(this.path(name)), { recursive: true });
      writeFileSync(this.path(name), text);
    }
    this.writeSettings();
    writeFileSync(path.join(this.home, 'config.yaml'), '');
    this.installExtension(this.options.extension ?? VSIX);
    const port = await freePort();
    const trust = (this.options.isTrusted ?? true) ? ['--disable-workspace-trust'] : [];
    this.process = spawn(
      process.execPath,
      [
        needed('CODE_SERVER'),
        ...this.flags(),
        ...trust,
        '--bind-addr',
        `127.0.0.1:${port}`,
        '--auth',
        'none',
        '--disable-telemetry',
        '--disable-update-check',
        '--disable-getting-started-override',
      ],
      { env: this.environment, stdio: 'ignore' },
    );
    await listening(port);
    return `http://127.0.0.1:${port}`;
  }

  /** End it and all that it started, and remove what it kept. */
  async close(): Promise<void> {
    if (this.process !== undefined && this.process.exitCode === null) {
      const pids = this.processes().map((words) => Number.parseInt(words, 10));
      this.process.kill();
      await until(
        () => running(pids), // Starling's keep their index as they end
        (left) => left.length === 0,
        PATIENCE,
        (left) => `still running: ${left}`,
      );
    }
    rmSync(this.home, { recursive: true, force: true, maxRetries: 10, retryDelay: 200 });
  }

  get project(): string {
    return path.join(this.home, 'project');
  }

  path(name: string): string {
    return path.join(this.project, name);
  }

  /** The processes that it started, as "PID words". */
  processes(): string[] {
    return processesFrom(this.process?.pid);
  }

  /** What Starling's Python says, with this home. */
  python(...words: string[]): string {
    return python(words, this.environment);
  }

  /** The lines of the extension's output channel. */
  log(): string[] {
    const logs = path.join(this.home, 'data', 'logs');
    const [file] = readdirSync(logs, { recursive: true, encoding: 'utf8' }).filter((name) =>
      name.endsWith(`${path.sep}Starling.log`),
    );
    return file === undefined ? [] : readFileSync(path.join(logs, file), 'utf8').split('\n');
  }

  private writeSettings(): void {
    const settings = {
      'starling.python': needed('STARLING_PYTHON'),
      'starling.ranker': 'signals',
      'chat.disableAIFeatures': true,
      'workbench.startupEditor': 'none',
      'workbench.secondarySideBar.defaultVisibility': 'hidden',
      'workbench.tips.enabled': false,
      'workbench.welcomePage.walkthroughs.openOnInstall': false,
      'editor.minimap.enabled': false,
      'editor.wordBasedSuggestions': 'off',
      'editor.suggest.showWords': false,
      'files.autoSave': 'off',
      'telemetry.telemetryLevel': 'off',
      'update.mode': 'none',
      'extensions.autoCheckUpdates': false,
      'typescript.disableAutomaticTypeAcquisition': true,
      ...this.options.settings,
    };
    for (const level of ['User', 'Machine']) {
      // some of VS Code's own are a machine's, and in a browser that is not the user's
      mkdirSync(path.join(this.home, 'data', level), { recursive: true });
      writeFileSync(path.join(this.home, 'data', level, 'settings.json'), JSON.stringify(settings));
    }
  }

  private installExtension(file: string): void {
    const words = [needed('CODE_SERVER'), ...this.flags(), '--install-extension', file];
    const done = spawnSync(process.execPath, words, { env: this.environment, encoding: 'utf8' });
    if (done.status !== 0) {
      throw new Error(`the extension could not be installed:\n${done.stdout}${done.stderr}`);
    }
  }

  private flags(): string[] {
    return [
      '--config',
      path.join(this.home, 'config.yaml'),
      '--user-data-dir',
      path.join(this.home, 'data'),
      '--extensions-dir',
      path.join(this.home, 'extensions'),
    ];
  }

  private get environment(): NodeJS.ProcessEnv {
    if (this.options.keepHome ?? false) {
      return process.env;
    }
    const own = Object.fromEntries(
      ['CONFIG', 'CACHE', 'DATA', 'STATE'].map((name) => [`XDG_${name}_HOME`, path.join(this.home, name)]),
    );
    return { ...process.env, ...own, HOME: this.home };
  }
}
