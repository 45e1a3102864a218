"""A small file to try Starling on: put the cursor after a dot and ask for completions."""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Item:
    name: str
    price: float
    amount: int = 1

    def total(self) -> float:
        return self.price * self.amount


@dataclass
class Basket:
    items: list[Item] = field(default_factory=list)
    discount: float = 0.0

    def add(self, item: Item) -> None:
        self.items.append(item)

    def total(self) -> float:
        return sum(item.total() for item in self.items) * (1 - self.discount)

    def remove(self, name: str) -> None:
        self.items = [item for item in self.items if item.name != name]
        self.


def load(path: Path) -> Basket:
    basket = Basket()
    for line in path.read_text().splitlines():
        name, price, amount = line.split(",")
        basket.add(Item(name.strip(), float(price), int(amount)))
    return basket


def receipt(basket: Basket) -> str:
    lines = [f"{item.name:20} {item.total():8.2f}" for item in basket.items]
    lines.append(f"{'total':20} {basket.total():8.2f}")
    return "\n".join(lines)
