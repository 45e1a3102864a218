#pragma once

/// Holds water and heats it.
struct kettle {
    double litres;
    double celsius;
};

/// Heats the water until it boils.
double kettle_boil(struct kettle *kettle);

/// Takes some water out.
double kettle_pour(struct kettle *kettle, double litres);
