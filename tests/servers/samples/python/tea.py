"""How tea is made."""

from kettle import Kettle


class Teapot:
    """A pot and the kettle that fills it."""

    def __init__(self, kettle: Kettle) -> None:
        self.kettle = kettle
        self.leaves = 0

    def steep(self, spoons: int) -> float:
        self.leaves += spoons
        self.kettle.boil()
        self.kettle.pour(0.5)
        return self.kettle.pour(0.2)


def breakfast(kettle: Kettle) -> Teapot:
    pot = Teapot(kettle)
    kettle.boil()
    # HERE
    pot.steep(2)
    return pot
