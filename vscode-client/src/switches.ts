/** What the user turned off, by language and by workspace. Kept by VS Code for the workspace; no setting is written. */

import type * as vscode from 'vscode';

const LANGUAGES = 'off.languages';
const WORKSPACE = 'off.workspace';
const ADAPTER = 'adapter';

export class Switches {
  constructor(
    private readonly memory: vscode.Memento,
    private readonly all: readonly string[],
  ) {}

  private get languages(): readonly string[] {
    return this.memory.get<string[]>(LANGUAGES, []);
  }

  get isWorkspaceOff(): boolean {
    return this.memory.get(WORKSPACE, false);
  }

  isOff(languageId: string): boolean {
    return this.isWorkspaceOff || this.languages.includes(languageId);
  }

  /** The server's setting `off`. */
  off(): string {
    return (this.isWorkspaceOff ? this.all : this.languages).join(',');
  }

  async toggleLanguage(languageId: string): Promise<void> {
    const rest = this.languages.filter((id) => id !== languageId);
    await this.memory.update(LANGUAGES, rest.length < this.languages.length ? rest : [...rest, languageId]);
  }

  async toggleWorkspace(): Promise<void> {
    await this.memory.update(WORKSPACE, !this.isWorkspaceOff);
  }

  /** The adapter that was chosen in this workspace; undefined to leave it to the settings. */
  get adapter(): string | undefined {
    return this.memory.get(ADAPTER);
  }

  async chooseAdapter(adapter: string | undefined): Promise<void> {
    await this.memory.update(ADAPTER, adapter);
  }
}
