namespace Tea;

/// <summary>A pot and the kettle that fills it.</summary>
public class Teapot(Kettle kettle)
{
    private int leaves;

    public double Steep(int spoons)
    {
        leaves += spoons;
        kettle.Boil();
        // HERE
        return kettle.Pour(0.2);
    }
}
