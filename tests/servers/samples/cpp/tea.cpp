#include "kettle.hpp"

namespace tea {

class Teapot {
public:
    explicit Teapot(Kettle &kettle) : kettle_(kettle) {}

    double steep(int spoons) {
        leaves_ += spoons;
        kettle_.boil();
        // HERE
        return kettle_.pour(0.2);
    }

private:
    Kettle &kettle_;
    int leaves_ = 0;
};

} // namespace tea
