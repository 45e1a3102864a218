namespace Tea;

/// <summary>Holds water and heats it.</summary>
public class Kettle(double litres)
{
    private double celsius = 20;

    public double Litres { get; private set; } = litres;

    /// <summary>Heats the water until it boils.</summary>
    public double Boil()
    {
        celsius = 100;
        return celsius;
    }

    /// <summary>Takes some water out.</summary>
    public double Pour(double amount)
    {
        Litres -= amount;
        return amount;
    }
}
