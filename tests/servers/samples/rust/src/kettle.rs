/// Holds water and heats it.
pub struct Kettle {
    pub litres: f64,
    pub celsius: f64,
}

impl Kettle {
    /// Heats the water until it boils.
    pub fn boil(&mut self) -> f64 {
        self.celsius = 100.0;
        self.celsius
    }

    /// Takes some water out.
    pub fn pour(&mut self, litres: f64) -> f64 {
        self.litres -= litres;
        litres
    }
}
