package tea

// Kettle holds water and heats it.
type Kettle struct {
	Litres  float64
	Celsius float64
}

// Boil heats the water until it boils.
func (k *Kettle) Boil() float64 {
	k.Celsius = 100
	return k.Celsius
}

// Pour takes some water out.
func (k *Kettle) Pour(litres float64) float64 {
	k.Litres -= litres
	return litres
}
