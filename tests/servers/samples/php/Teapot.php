<?php

namespace Tea;

/** A pot and the kettle that fills it. */
class Teapot
{
    private int $leaves = 0;

    public function __construct(private Kettle $kettle)
    {
    }

    public function steep(int $spoons): float
    {
        $this->leaves += $spoons;
        $this->kettle->boil();
        // HERE
        return $this->kettle->pour(0.2);
    }
}
