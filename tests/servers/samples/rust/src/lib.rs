pub mod kettle;

use kettle::Kettle;

pub struct Teapot {
    pub kettle: Kettle,
    pub leaves: u32,
}

impl Teapot {
    pub fn steep(&mut self, spoons: u32) -> f64 {
        self.leaves += spoons;
        self.kettle.boil();
        // HERE
        self.kettle.pour(0.2)
    }
}
