package tea

// Teapot is a pot and the kettle that fills it.
type Teapot struct {
	Kettle *Kettle
	Leaves int
}

// Steep makes tea.
func (pot *Teapot) Steep(spoons int) float64 {
	pot.Leaves += spoons
	pot.Kettle.Boil()
	// HERE
	return pot.Kettle.Pour(0.2)
}
