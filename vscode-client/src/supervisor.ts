/** One server at a time: of starts, stops and restarts that overlap, only the last counts. Knows nothing of VS Code. */

export class Supervisor {
  private turn = 0; // of starts and stops
  private ending: Promise<unknown> = Promise.resolve(); // until all that was ended is gone

  /** `begin` starts the server, and stops where `isCurrent` tells that it does not count any more; `end` ends it. Neither rejects. */
  constructor(
    private readonly begin: (isCurrent: () => boolean) => Promise<void>,
    private readonly end: () => Promise<void>,
  ) {}

  /** Start anew: what was started before does not count any more, whether it has come to its end or hangs. */
  async start(): Promise<void> {
    this.turn++;
    const { turn } = this;
    await this.begin(() => turn === this.turn);
  }

  /** End the server, and wait for it, and for what an earlier stop ends. */
  async stop(): Promise<void> {
    this.turn++;
    this.ending = Promise.all([this.ending, this.end()]);
    await this.ending;
  }

  /** Stop, then start, unless something was started or stopped meanwhile. */
  async restart(): Promise<void> {
    const stopping = this.stop();
    const { turn } = this;
    await stopping;
    if (turn === this.turn) {
      await this.start();
    }
  }
}
