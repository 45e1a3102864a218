"""What boils the water."""


class Kettle:
    """Holds water and heats it."""

    def __init__(self, litres: float) -> None:
        self.litres = litres
        self.celsius = 20.0

    def boil(self) -> float:
        """Heat the water until it boils."""
        self.celsius = 100.0
        return self.celsius

    def pour(self, litres: float) -> float:
        """Take some water out."""
        self.litres -= litres
        return litres


class Thermometer:
    """Reads a kettle."""

    def read(self, kettle: Kettle) -> float:
        return kettle.celsius
