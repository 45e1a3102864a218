#include "kettle.h"

struct teapot {
    struct kettle *kettle;
    int leaves;
};

double teapot_steep(struct teapot *pot, int spoons) {
    pot->leaves += spoons;
    kettle_boil(pot->kettle);
    /* HERE */
    return kettle_pour(pot->kettle, 0.2);
}
