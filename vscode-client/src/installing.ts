/** What is installed at a user's word: the server, its model, what training needs. */

import * as vscode from 'vscode';
import * as asked from './asked.ts';
import { type Environment, type Found, installThere } from './environment.ts';
import { offer } from './offer.ts';
import * as settings from './settings.ts';
import { isOlder } from './state.ts';
import type { StatusBar } from './status.ts';
import { train } from './train.ts';

export class Installing {
  constructor(
    private readonly context: vscode.ExtensionContext,
    private readonly environment: Environment,
    private readonly status: StatusBar,
    private readonly log: vscode.LogOutputChannel,
    private readonly isInstalled: () => boolean,
    private readonly restart: () => Promise<void>,
  ) {}

  /** Ask whether to install the server; where the setting names a Python, say how to install it there. */
  offerToInstall(): void {
    const needs = 'Starling needs its Python part.';
    const openSetting = () => vscode.commands.executeCommand('workbench.action.openSettings', 'starling.python');
    const chosen = settings.python();
    if (chosen !== '') {
      offer(vscode.window.showWarningMessage, `${needs} ${installThere(chosen)}`, { 'Open Setting': openSetting });
      return;
    }
    const message = `${needs} Install it into a folder of its own? pip brings what it needs, about 400 MB.`;
    offer(vscode.window.showInformationMessage, message, {
      Install: () => vscode.commands.executeCommand('starling.install'), // which shows what goes wrong
      'Name a Python': openSetting,
    });
  }

  /** Install the server, and offer its model. Throws what went wrong. */
  async install(): Promise<void> {
    const options = { location: vscode.ProgressLocation.Notification, title: 'Starling', cancellable: true };
    const before = !this.isInstalled() ? ({ name: 'not-installed' } as const) : undefined;
    try {
      await vscode.window.withProgress(options, (progress, token) => {
        const report = (step: { message: string }) => {
          progress.report(step);
          if (before !== undefined) {
            this.status.enter({ name: 'installing', step: step.message });
          }
        };
        return this.environment.install({ report }, token);
      });
    } catch (error) {
      if (before !== undefined) {
        this.status.enter(before);
      }
      throw error;
    }
    await this.restart();
    const answer = await vscode.window.showInformationMessage(
      'Starling is installed. Its model (98 MB) makes the order better; without it an index of your code ranks.',
      'Fetch the Model',
    );
    if (answer !== undefined) {
      await vscode.commands.executeCommand('starling.installModel');
    }
  }

  /** Train, once what training needs is there. */
  async train(found: Found | undefined): Promise<void> {
    if (found === undefined) {
      this.offerToInstall();
      return;
    }
    if (!(await this.environment.canTrain(found.python))) {
      if (!found.isOwn) {
        throw new Error(
          `${found.python} lacks what training needs. Run: ${found.python} -m pip install "starling-lsp[train,corpus]"`,
        );
      }
      const message = 'Training needs torch and more: about a gigabyte, more where torch brings CUDA. Install it?';
      if ((await vscode.window.showInformationMessage(message, 'Install')) !== 'Install') {
        return;
      }
      const options = { location: vscode.ProgressLocation.Notification, title: 'Starling', cancellable: true };
      await vscode.window.withProgress(options, (progress, token) =>
        this.environment.installTraining(found.python, progress, token),
      );
    }
    await train(found.python, this.environment.folder(), this.log);
  }

  /** Fetch the model into the installation. */
  async installModel(python: string): Promise<void> {
    if (await asked.installModel(python, this.environment.folder(), this.log)) {
      await this.restart();
    }
  }

  /** The extension was updated, and the environment that it made was not. */
  offerUpdate({ version, isOwn }: Found): void {
    const { version: wanted } = this.context.extension.packageJSON as { readonly version: string };
    if (isOwn && isOlder(version, wanted)) {
      const message = `Starling’s server is ${version}, its extension ${wanted}. They are made for each other: update the server?`;
      offer(vscode.window.showInformationMessage, message, {
        Update: () => vscode.commands.executeCommand('starling.install'),
      });
    }
  }
}
