/** Holds water and heats it. */
export class Kettle {
  celsius = 20;

  constructor(public litres: number) {}

  /** Heat the water until it boils. */
  boil(): number {
    this.celsius = 100;
    return this.celsius;
  }

  /** Take some water out. */
  pour(litres: number): number {
    this.litres -= litres;
    return litres;
  }
}

/** Reads a kettle. */
export class Thermometer {
  read(kettle: Kettle): number {
    return kettle.celsius;
  }
}
