(* Chapter 8: the same quantities from inner products of gradients.

   The rows of A, E, T are gradients, or roots, of a batch, of the evaluation set and of
   what is known already. `A *m E^T` is the similarity matrix S_AE. `l%:M` is l I, the
   prior's precision; `col_mx A E` stacks A upon E. *)
From mathcomp Require Import all_ssreflect all_algebra.
From Formal Require Import determinants gain predictive.
Set Implicit Arguments.
Unset Strict Implicit.
Unset Printing Implicit Defensive.
Import GRing.Theory.
Local Open Scope ring_scope.

Section Similarity.
Variable Num : comUnitRingType.
Implicit Types (l : Num).

(* T30, T32: det(I + S / l) is det(l I + S) / l^n: the power of l is what grows without
   bound as l tends to 0, and det S is what stays. *)
Lemma factor_out n l (S : 'M[Num]_n) :
  l \is a GRing.unit -> \det (l%:M + S) = l ^+ n * \det (I + l^-1 *: S).
Proof.
by move=> ul; rewrite -determinant_scaled scalerDr scalerA divrr // scale1r scalemx1.
Qed.

(* T30: the two sides of one stack of gradients: G G' is n x n, G' G is d x d. *)
Lemma two_sides n d l (G : 'M[Num]_(n, d)) :
  l \is a GRing.unit ->
  l ^+ d * \det (l%:M + G *m G^T) = l ^+ n * \det (l%:M + G^T *m G).
Proof.
move=> ul; rewrite !(factor_out _ ul) mulrCA; congr (_ * (_ * _)).
by rewrite scalemxAl sylvester scalemxAr.
Qed.

(* T30: for any posterior precision P. *)
Lemma two_sides_of_posterior n d (P : 'M[Num]_d) (G : 'M[Num]_(n, d)) :
  P \in unitmx -> \det (P + G^T *m G) = \det P * \det (I + G *m inv P *m G^T).
Proof. exact: determinant_lemma. Qed.

(* T30, T33: signs s_i = 1 or -1 of the gradients change neither determinant. *)
Lemma signs_cancel n d (s : 'rV[Num]_n) (G : 'M[Num]_(n, d)) :
  (forall i, s 0 i * s 0 i = 1) ->
  let H := diag_mx s *m G in
  \det (H *m H^T) = \det (G *m G^T) /\ H^T *m H = G^T *m G.
Proof.
move=> square H; have squared : diag_mx s *m diag_mx s = I.
  apply/matrixP=> i j; rewrite mul_diag_mx !mxE.
  by case: eqVneq => [->|_]; rewrite ?mulr1n ?mulr0n ?mulr0 ?square.
rewrite /H trmx_mul tr_diag_mx; split; last first.
  by rewrite -mulmxA [diag_mx s *m (_ *m _)]mulmxA squared mul1mx.
rewrite mulmxA det_mulmx mulrC -mulmxA det_mulmx mulrA -det_mulmx squared.
by rewrite det1 mul1r.
Qed.

(* T33: one more gradient g multiplies det S by g g' - g G' S^-1 G g' ... *)
Lemma one_more_gradient n d (G : 'M[Num]_(n, d)) (g : 'rV[Num]_d) :
  let S := G *m G^T in
  S \in unitmx ->
  \det (col_mx G g *m (col_mx G g)^T)
    = \det S * number (g *m g^T - g *m G^T *m inv S *m G *m g^T).
Proof.
move=> S uS; rewrite tr_col_mx mul_col_row block_determinant_first //.
by rewrite det_mx11 !mulmxA.
Qed.

(* T33: ... which is the squared length of what g has outside the span: of the residual
   h = g - g G' S^-1 G, orthogonal to every row of G. *)
Lemma residual_is_orthogonal n d (G : 'M[Num]_(n, d)) (g : 'rV[Num]_d) :
  let S := G *m G^T in
  let h := g - g *m G^T *m inv S *m G in
  S \in unitmx ->
  h *m G^T = 0 /\ h *m h^T = g *m g^T - g *m G^T *m inv S *m G *m g^T.
Proof.
move=> S h uS; have outside : h *m G^T = 0.
  by rewrite mulmxBl -[_ *m G *m G^T]mulmxA -/S mulmxKV // subrr.
split=> //; rewrite {2}/h; set Z := g *m G^T *m inv S.
rewrite linearB /= mulmxBr trmx_mul [h *m (_ *m _)]mulmxA outside mul0mx subr0.
by rewrite mulmxBl.
Qed.

(* T34: (l I + E' E)^-1 from the n x n side. *)
Lemma inverse_by_similarity n d l (E : 'M[Num]_(n, d)) :
  l \is a GRing.unit -> l%:M + E *m E^T \in unitmx ->
  inv (l%:M + E^T *m E) = l^-1 *: (I - E^T *m inv (l%:M + E *m E^T) *m E).
Proof.
move=> ul uS; set W := inv (l%:M + E *m E^T).
suff /inverse_is_unique[] :
  (l%:M + E^T *m E) *m (l^-1 *: (I - E^T *m W *m E)) = I by [].
have pull : (l%:M + E^T *m E) *m E^T = E^T *m (l%:M + E *m E^T).
  by rewrite mulmxDl mulmxDr mul_scalar_mx mul_mx_scalar mulmxA.
rewrite -scalemxAr mulmxBr mulmx1 !mulmxA pull mulmxK // addrK.
by rewrite scale_scalar_mx mulVr.
Qed.

(* T34: what is left of S_A once E is known, times l. Woodbury. *)
Lemma conditional_similarity k n d l (A : 'M[Num]_(k, d)) (E : 'M[Num]_(n, d)) :
  l \is a GRing.unit -> l%:M + E *m E^T \in unitmx ->
  l *: (I + A *m inv (l%:M + E^T *m E) *m A^T)
    = l%:M + A *m A^T - A *m E^T *m inv (l%:M + E *m E^T) *m (E *m A^T).
Proof.
move=> ul uS; rewrite inverse_by_similarity // scalerDr scalemx1 -scalemxAr -scalemxAl.
by rewrite scalerA divrr // scale1r mulmxBr mulmx1 mulmxBl addrA !mulmxA.
Qed.

(* T34: the block determinant behind LogDetMI: A and E stacked. *)
Lemma stacked_similarity k n d l (A : 'M[Num]_(k, d)) (E : 'M[Num]_(n, d)) :
  l%:M + E *m E^T \in unitmx ->
  \det (l%:M + col_mx A E *m (col_mx A E)^T)
    = \det (l%:M + E *m E^T)
      * \det (l%:M + A *m A^T - A *m E^T *m inv (l%:M + E *m E^T) *m (E *m A^T)).
Proof.
move=> uS; rewrite tr_col_mx mul_col_row scalar_mx_block add_block_mx !add0r.
by rewrite block_determinant.
Qed.

(* T34, T35: the EIG of A under a precision that E has left, from similarities. *)
Lemma gain_by_similarity k n d l (A : 'M[Num]_(k, d)) (E : 'M[Num]_(n, d)) :
  l \is a GRing.unit -> l%:M + E *m E^T \in unitmx ->
  \det (l%:M + A *m A^T - A *m E^T *m inv (l%:M + E *m E^T) *m (E *m A^T))
    = l ^+ k * \det (I + A^T *m A *m inv (l%:M + E^T *m E)).
Proof.
by move=> ul uS; rewrite -conditional_similarity // determinant_scaled gain_by_root.
Qed.

(* The same with nothing known: det(l I + S_A) = l^k det(I + FA / l). *)
Fact prior_gain_by_similarity k d l (A : 'M[Num]_(k, d)) :
  l \is a GRing.unit ->
  \det (l%:M + A *m A^T) = l ^+ k * \det (I + A^T *m A *m inv l%:M).
Proof.
move=> ul; rewrite factor_out // gain_by_root invmx_scalar mul_mx_scalar.
by rewrite -scalemxAl.
Qed.

(* T34: LogDetMI is twice JEPIG. JEPIG is EIG under P = l I less EIG under P + FE; l^k
   cancels. *)
Lemma log_det_mi_is_twice_jepig k n d l (A : 'M[Num]_(k, d)) (E : 'M[Num]_(n, d)) :
  l \is a GRing.unit -> l%:M + E *m E^T \in unitmx ->
  let FA := A^T *m A in
  let FE := E^T *m E in
  let S_A_given_E
    := A *m A^T - A *m E^T *m inv (l%:M + E *m E^T) *m (E *m A^T) in
  \det (I + FA *m inv l%:M) * \det (l%:M + S_A_given_E)
    = \det (I + FA *m inv (l%:M + FE)) * \det (l%:M + A *m A^T).
Proof.
move=> ul uS /=; rewrite addrA gain_by_similarity // prior_gain_by_similarity //.
by rewrite mulrCA [RHS]mulrCA [X in _ * X]mulrC.
Qed.

(* T34: the same, symmetric in A and E: f(A) + f(E) - f(A, E), f = log det(l I + S). *)
Lemma log_det_mi_is_symmetric k n d l (A : 'M[Num]_(k, d)) (E : 'M[Num]_(n, d)) :
  l \is a GRing.unit -> l%:M + E *m E^T \in unitmx ->
  let FA := A^T *m A in
  let FE := E^T *m E in
  let AE := col_mx A E in
  \det (I + FA *m inv l%:M) * \det (l%:M + AE *m AE^T)
    = \det (I + FA *m inv (l%:M + FE))
      * (\det (l%:M + A *m A^T) * \det (l%:M + E *m E^T)).
Proof.
move=> ul uS /=; rewrite stacked_similarity // mulrCA -addrA.
by rewrite log_det_mi_is_twice_jepig // mulrC -mulrA.
Qed.

(* T34, T44: for any posterior P, with kernels A P^-1 E' in the place of similarities
   A E' and 1 in the place of l. *)
Lemma kernel_log_det_mi k n d (P : 'M[Num]_d) (A : 'M[Num]_(k, d))
    (E : 'M[Num]_(n, d)) :
  P \in unitmx -> I + E *m inv P *m E^T \in unitmx ->
  let AE := col_mx A E in
  \det (I + AE *m inv P *m AE^T)
    = \det (I + E *m inv P *m E^T)
      * \det (I + A *m inv (P + E^T *m E) *m A^T).
Proof.
move=> uP uE AE; have uQ : P + E^T *m E \in unitmx.
  by rewrite unitmxE determinant_lemma // unitrM -!unitmxE uP.
have uD : \det P \is a GRing.unit by rewrite -unitmxE.
apply: (mulrI uD); rewrite -determinant_lemma // gain_of_one_more //.
by rewrite determinant_lemma // mulrA.
Qed.

(* T35: LogDetCG, f(A, T) - f(T) with f = log det(l I + S), is twice the EIG of A under
   the precision P_T = l I + T' T that T has left, and k log l. *)
Lemma log_det_cg_is_twice_eig k n d l (A : 'M[Num]_(k, d)) (T : 'M[Num]_(n, d)) :
  l \is a GRing.unit -> l%:M + T *m T^T \in unitmx ->
  let AT := col_mx A T in
  let P_T := l%:M + T^T *m T in
  \det (l%:M + AT *m AT^T)
    = \det (l%:M + T *m T^T) * (l ^+ k * \det (I + A^T *m A *m inv P_T)).
Proof. by move=> ul uS AT P_T; rewrite stacked_similarity // gain_by_similarity. Qed.

(* T35: LogDetCMI, f(A, T) + f(E, T) - f(A, E, T) - f(T), is twice JEPIG under P_T. *)
Lemma log_det_cmi_is_twice_jepig k m n d l
    (A : 'M[Num]_(k, d)) (E : 'M[Num]_(m, d)) (T : 'M[Num]_(n, d)) :
  let AT := col_mx A T in
  let ET := col_mx E T in
  let AET := col_mx A ET in
  let FA := A^T *m A in
  let P_T := l%:M + T^T *m T in
  let f n (X : 'M_(n, d)) := \det (l%:M + X *m X^T) in
  l \is a GRing.unit -> l%:M + T *m T^T \in unitmx -> l%:M + ET *m ET^T \in unitmx ->
  f _ AT * f _ ET * \det (I + FA *m inv (P_T + E^T *m E))
    = f _ AET * f _ T * \det (I + FA *m inv P_T).
Proof.
move=> AT ET AET FA P_T f ul uT uET; rewrite /f !log_det_cg_is_twice_eig //.
rewrite stacked_roots_add addrCA [_ + (_ + T^T *m T)]addrC -/P_T -/FA.
rewrite mulrAC mulrC -!mulrA; do 3!congr (_ * _).
by rewrite mulrCA; congr (_ * _); rewrite [RHS]mulrCA; congr (_ * _); exact: mulrC.
Qed.

(* T36: with f(X) = det(P + F_X) / det P, LogDetMI f(A) f(E) / f(A and E) is JEPIG's
   ratio: EIG of A under P, over EIG of A under P + FE. *)
Lemma one_function d (P FA FE : 'M[Num]_d) :
  P \in unitmx -> P + FE \in unitmx ->
  let f F := \det (P + F) / \det P in
  f FA * f FE * \det (I + FA *m inv (P + FE))
    = f (FE + FA) * \det (I + FA *m inv P).
Proof.
move=> uP uE f; have uD : \det P \is a GRing.unit by rewrite -unitmxE.
have ratio F : f F = \det (I + F *m inv P) by rewrite /f gain_as_ratio // mulrC mulKr.
rewrite ratio /f addrA [in RHS]gain_as_ratio // -mulrA [RHS]mulrC.
by rewrite [_ / _ * _]mulrAC.
Qed.
End Similarity.
