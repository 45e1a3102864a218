import { Kettle } from "./kettle";

/** A pot and the kettle that fills it. */
export class Teapot {
  leaves = 0;
  "dried leaves" = 0;

  constructor(readonly kettle: Kettle) {}

  steep(spoons: number): number {
    this.leaves += spoons;
    this.kettle.boil();
    this.kettle.pour(0.5);
    return this.kettle.pour(0.2);
  }
}

export function breakfast(kettle: Kettle, guest?: Kettle): Teapot {
  const pot = new Teapot(kettle);
  kettle.boil();
  // HERE
  pot.steep(2);
  return pot;
}
