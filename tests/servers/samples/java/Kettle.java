/** Holds water and heats it. */
public class Kettle {
    private double litres;
    private double celsius = 20;

    public Kettle(double litres) {
        this.litres = litres;
    }

    /** Heats the water until it boils. */
    public double boil() {
        celsius = 100;
        return celsius;
    }

    /** Takes some water out. */
    public double pour(double amount) {
        litres -= amount;
        return amount;
    }
}
