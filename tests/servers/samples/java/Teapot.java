/** A pot and the kettle that fills it. */
public class Teapot {
    private final Kettle kettle;
    private int leaves;

    public Teapot(Kettle kettle) {
        this.kettle = kettle;
    }

    public double steep(int spoons) {
        leaves += spoons;
        kettle.boil();
        // HERE
        return kettle.pour(0.2);
    }
}
