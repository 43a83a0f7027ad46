/** The two functions of jstat that are used here. */
declare module 'jstat' {
  interface JStat {
    beta: { inv(probability: number, alpha: number, beta: number): number };
    studentt: { inv(probability: number, degreesOfFreedom: number): number };
  }
  const jstat: { jStat: JStat };
  export default jstat;
}
