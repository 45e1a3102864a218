<?php

namespace Tea;

/** Holds water and heats it. */
class Kettle
{
    private float $celsius = 20.0;

    public function __construct(public float $litres)
    {
    }

    /** Heats the water until it boils. */
    public function boil(): float
    {
        $this->celsius = 100.0;
        return $this->celsius;
    }

    /** Takes some water out. */
    public function pour(float $litres): float
    {
        $this->litres -= $litres;
        return $litres;
    }
}
