/** The functions of jstat that are used here. */
declare module 'jstat' {
  interface JStat {
    binomial: { cdf(x: number, n: number, probability: number): number };
    beta: { inv(probability: number, alpha: number, beta: number): number };
    normal: {
      cdf(x: number, mean: number, deviation: number): number;
      inv(probability: number, mean: number, deviation: number): number;
    };
    studentt: {
      cdf(x: number, degreesOfFreedom: number): number;
      inv(probability: number, degreesOfFreedom: number): number;
    };
  }
  const jstat: { jStat: JStat };
  export default jstat;
}
