#pragma once

/// Holds water and heats it.
class Kettle {
public:
    explicit Kettle(double litres) : litres_(litres) {}

    /// Heats the water until it boils.
    double boil() {
        celsius_ = 100;
        return celsius_;
    }

    /// Takes some water out.
    double pour(double litres) {
        litres_ -= litres;
        return litres;
    }

private:
    double litres_;
    double celsius_ = 20;
};
